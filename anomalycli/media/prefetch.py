"""Run several decoders in parallel with the network, and merge their messages into one stream, in bounded memory."""

import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any, TypeVar

from ..errors import VideoError
from .decoder import Decoder

AHEAD = 4  # messages of each decoder that may wait

Item = TypeVar("Item")


def feed(
    items: Iterable[Item], read: Callable[[Decoder, Item], Iterator[Any]], decoders: list[Decoder]
) -> Generator[tuple[Item, Any], None, None]:
    """Yield (item, message) for each message of `read(decoder, item)`, each decoder at another item.

    Messages of one item keep their order; messages of different items are interleaved. A VideoError is the last message
    of its item; any other exception is raised. Closing the generator stops the decoders.
    """
    messages: queue.Queue[tuple[Item | None, Any]] = queue.Queue(AHEAD * len(decoders))
    waiting, lock, stopped = iter(items), threading.Lock(), threading.Event()

    def put(item: Item | None, message: Any) -> bool:
        while not stopped.is_set():
            try:
                messages.put((item, message), timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def work(decoder: Decoder) -> None:
        try:
            while True:
                with lock:
                    item = next(waiting)
                try:
                    if not all(put(item, message) for message in read(decoder, item)):
                        return
                except VideoError as error:
                    put(item, error)
        except StopIteration:
            put(None, None)
        except BaseException as error:
            put(None, error)

    threads = [threading.Thread(target=work, args=(decoder,), daemon=True) for decoder in decoders]
    for thread in threads:
        thread.start()
    at_work = len(threads)
    try:
        while at_work:
            item, message = messages.get()
            if item is not None:
                yield item, message
            elif message is None:
                at_work -= 1
            else:
                raise message
    finally:
        stopped.set()
        for decoder in decoders:
            decoder.close()
        for thread in threads:
            thread.join()
