"""The data dictionary: what this board can do, as Klippy downloads it before anything else.

Formats, constants and reasons are those of Klipper's ``src/*.c``; see ``docs/MCU_Commands.md``.
"""

from __future__ import annotations

import json
import zlib
from typing import Tuple

from .machine import pin_names
from .protocol import Dictionary, Message

FREQUENCY = 20_000_000  # ticks per second: 2**31 ticks are 107 s, far beyond Klippy's planning
ADC_MAX = 4095
PWM_MAX = 255
MOVE_QUEUE = 1024

COMMANDS = (
    "get_uptime",
    "get_clock",
    "get_config",
    "allocate_oids count=%c",
    "finalize_config crc=%u",
    "emergency_stop",
    "clear_shutdown",
    "reset",
    "debug_nop",
    "config_stepper oid=%c step_pin=%c dir_pin=%c invert_step=%c step_pulse_ticks=%u",
    "queue_step oid=%c interval=%u count=%hu add=%hi",
    "set_next_step_dir oid=%c dir=%c",
    "reset_step_clock oid=%c clock=%u",
    "stepper_get_position oid=%c",
    "stepper_stop_on_trigger oid=%c trsync_oid=%c",
    "config_endstop oid=%c pin=%c pull_up=%c",
    "endstop_home oid=%c clock=%u sample_ticks=%u sample_count=%c rest_ticks=%u pin_value=%c"
    " trsync_oid=%c trigger_reason=%c",
    "endstop_query_state oid=%c",
    "config_trsync oid=%c",
    "trsync_start oid=%c report_clock=%u report_ticks=%u expire_reason=%c",
    "trsync_set_timeout oid=%c clock=%u",
    "trsync_trigger oid=%c reason=%c",
    "config_digital_out oid=%c pin=%u value=%c default_value=%c max_duration=%u",
    "update_digital_out oid=%c value=%c",
    "queue_digital_out oid=%c clock=%u on_ticks=%u",
    "set_digital_out pin=%u value=%c",
    "set_digital_out_pwm_cycle oid=%c cycle_ticks=%u",
    "config_pwm_out oid=%c pin=%u cycle_ticks=%u value=%hu default_value=%hu max_duration=%u",
    "queue_pwm_out oid=%c clock=%u value=%hu",
    "config_analog_in oid=%c pin=%u",
    "query_analog_in oid=%c clock=%u sample_ticks=%u sample_count=%c rest_ticks=%u"
    " min_value=%hu max_value=%hu range_check_count=%c",
    "config_buttons oid=%c button_count=%c",
    "buttons_add oid=%c pos=%c pin=%u pull_up=%c",
    "buttons_query oid=%c clock=%u rest_ticks=%u retransmit_count=%c invert=%c",
    "buttons_ack oid=%c count=%c",
)
RESPONSES = (
    "uptime high=%u clock=%u",
    "clock clock=%u",
    "config is_config=%c crc=%u is_shutdown=%c move_count=%hu",
    "stats count=%u sum=%u sumsq=%u",
    "shutdown clock=%u static_string_id=%hu",
    "is_shutdown static_string_id=%hu",
    "starting",
    "stepper_position oid=%c pos=%i",
    "trsync_state oid=%c can_trigger=%c trigger_reason=%c clock=%u",
    "endstop_state oid=%c homing=%c next_clock=%u pin_value=%c",
    "analog_in_state oid=%c next_clock=%u value=%hu",
    "buttons_state oid=%c ack_count=%c state=%*s",
)
# Numbers fixed by the protocol: Klippy must be able to ask for the rest with them.
IDENTIFY_RESPONSE, IDENTIFY = 0, 1
# Commands a firmware that is shut down still carries out.
ALWAYS = frozenset(
    ("identify", "get_uptime", "get_clock", "get_config", "emergency_stop", "clear_shutdown")
    + ("reset", "debug_nop")
)
REASONS = (
    "Command request",
    "ADC out of range",
    "Missed scheduling of next digital out event",
    "Missed scheduling of next hard pwm event",
    "Timer too close",
    "Stepper too far in past",
    "Rescheduled timer in the past",
    "Command parser error",
    "Invalid oid type",
)


def build_dictionary() -> Tuple[bytes, Dictionary, Dictionary]:
    """The identify data, and the messages of both directions."""
    identify = Message(IDENTIFY, "identify offset=%u count=%c")
    answer = Message(IDENTIFY_RESPONSE, "identify_response offset=%u data=%.*s")
    commands = [Message(number, text) for number, text in enumerate(COMMANDS, start=2)]
    responses = [
        Message(number, text) for number, text in enumerate(RESPONSES, start=2 + len(COMMANDS))
    ]
    data = {
        "app": "Kalico",  # Kalico warns about any other name
        "version": "v2026.10.00-rig",
        "build_versions": "gcc: none",
        "config": {
            "CLOCK_FREQ": FREQUENCY,
            "STATS_SUMSQ_BASE": 256,
            "ADC_MAX": ADC_MAX,
            "PWM_MAX": PWM_MAX,
            "MCU": "rig",
        },
        "enumerations": {
            "pin": pin_names(),
            "static_string_id": {text: number for number, text in enumerate(REASONS, start=2)},
        },
        "commands": {message.template: message.ident for message in commands},
        "responses": {message.template: message.ident for message in responses},
    }
    packed = zlib.compress(json.dumps(data).encode(), 9)
    return packed, Dictionary(commands + [identify]), Dictionary(responses + [answer])
