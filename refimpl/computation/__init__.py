"""Floor 3: computing on shared secrets, as protocols between parties.

- ``products``: products, truncation and opening of additive shares, with a dealer of triples
"""
