"""The live page, and the read-only API behind it: what the service sees, and its memory at work.

Whoever looks gets copies of what is there anyway. Nothing here changes a memory, and what all who look cost
together is bounded (`purse`).
"""

from stream_lstm.service.http.context import HttpContext
from stream_lstm.service.http.routes import WebRoutes

__all__ = ["HttpContext", "WebRoutes"]
