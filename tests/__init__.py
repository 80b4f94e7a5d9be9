"""The tests, floor by floor; `tests.support` is what several floors share."""
