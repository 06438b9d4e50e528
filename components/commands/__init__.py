"""What the hub asks: read, judged, recorded, carried out, answered.

From a reply to Klippy: `wire` reads it, `policy` judges it by the tables in `actions`, `runner`
lets it wait in its lane, `orders` and `execution` carry it out and see it happen, `remote.Commands`
is the door, and `inbox` what the hub's replies come in by.
"""

from .inbox import Inbox
from .remote import Commands
from .wire import Command, PrintRequest

__all__ = ["Command", "Commands", "Inbox", "PrintRequest"]
