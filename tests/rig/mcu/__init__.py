"""A software micro-controller: real Klippy talks to it over a pseudo-terminal.

Rooms, each importing only those above it:

* ``protocol``: the wire. VLQ integers, CRC, frames, message formats. Knows no command.
* ``machine``:  the physical world. Carriages and their switches, heaters, thermistors.
* ``stepper``:  step queues, evaluated lazily: no work is done per step.
* ``dictionary``: what the board tells Klippy about itself.
* ``parts``:    switches, triggers, outputs, inputs.
* ``firmware``: the commands Klippy sends, handed to the parts they are for.
* ``__main__``: the process. The pseudo-terminal, the event loop, the control socket for faults.
* ``control``:  the other end of that socket, for tests.

Non-goals: to be a Klipper firmware. It never answers "Timer too close": a test machine that is
busy for half a second must not look like a broken printer.
"""
