"""Floor 1: secure multi-party computation, as pure functions on arrays. No parties here.

- ``additive``: secrets split into summands modulo 2^64, all of them needed
- ``shamir``: secrets split so that any ``threshold`` shares suffice
- ``decoding``: which of too many Shamir shares is wrong
- ``beaver``: products of shared secrets, from triples that a dealer prepared
- ``truncation``: shared fixed-point products brought back to scale
- ``masks``: masks that cancel in a sum
- ``key_agreement``: pairwise keys, signatures, sealed messages, and secrets as field elements
- ``neighbours``: how few neighbours secure aggregation needs
"""
