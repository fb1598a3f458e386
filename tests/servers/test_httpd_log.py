"""httpd's ErrorLog at ssl:debug: lines of httpd 2.4, each kind of end, and logs that were cut off."""

from __future__ import annotations
