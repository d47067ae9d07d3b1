"""What schemathesis cannot know of the formats of the document."""

from __future__ import annotations

from datetime import datetime, timezone

import schemathesis
from hypothesis import strategies as st

# Times of commands: not before there were clocks that counted from 1970.
schemathesis.openapi.format(
    "date-time",
    st.datetimes(datetime(1971, 1, 1), datetime(2100, 1, 1), timezones=st.just(timezone.utc)).map(datetime.isoformat),
)
