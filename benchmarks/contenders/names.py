"""What the contenders are called."""

from typing import Final

RAW: Final = "raw echo"
LINK: Final = "link echo"
BOOK: Final = "aiomqtt echo"
NAIVE: Final = "naive gateway"
GATEWAY: Final = "gateway"
REMOTE: Final = "gateway + ESDB"
LOOP: Final = "append loop"
