"""URLs without what must not be seen: passwords and keys."""

import re

_URL = re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://)(\S+)")


def redact(text: str) -> str:
    """`text` with the user, the password and the query taken out of each URL in it.

    All up to the last @ of a URL is taken for credentials, whatever characters a password has.
    """
    return _URL.sub(lambda match: match[1] + _without_query(match[2].rpartition("@")[2]), text)


def _without_query(address: str) -> str:
    place, mark, query = re.sub(r"[;#]", "?", address).partition("?")
    if re.fullmatch(r"…[).:,]*", query):  # of a sentence that was redacted before
        return f"{place}?{query}"
    return f"{place}?…" if mark else place
