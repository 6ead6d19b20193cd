"""A process that keeps something in memory and answers questions about it, one message each way."""

from __future__ import annotations

from procorch import ProcessGroup, current_process


def count_words() -> int:
    """Count words as texts come; answer each with what is new in it.

    Returns:
        int: How many different words there were.
    """
    known: set[str] = set()
    me = current_process()
    for text in me.messages(str):
        new = set(text.split()) - known
        known |= new
        me.send(sorted(new))
    return len(known)


if __name__ == "__main__":
    with ProcessGroup() as group:
        counter = group.start(count_words)
        for text in ("to be or not to be", "to have or to be", "be"):
            counter.send(text)
            print(text, "->", counter.receive(list))
        counter.stop()
        print(counter.result(), "words")
