"""The only room that touches Klippy and Moonraker's state: what the printer is, and what it can be
told.
"""
