"""What the hub asks: read, judged, recorded, carried out, answered.

From a reply to Klippy: `wire` reads it, `lanes` let it wait behind what came before it, `policy`
judges it by the tables in `actions` and `danger` and says by `orders` what it comes to, `runner`
hands that over and sees it happen. `emergency` goes past all of them; `remote.Commands` is the
door, `inbox` what the hub's replies come in by, and `receipts` tells it what has come. The states
of a command's life are a table in `store.life`.
"""

from .inbox import Inbox
from .receipts import Receipts
from .remote import Commands
from .tools import Deeds, Tools
from .wire import Command, PrintRequest

__all__ = ["Command", "Commands", "Deeds", "Inbox", "PrintRequest", "Receipts", "Tools"]
