"""Anything that becomes stored rows, in the transaction that stores them."""
