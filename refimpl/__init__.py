"""Tested reference implementations of privacy-preserving distributed deep learning.

Each package is one floor of the house and imports only from floors below its own:
``arithmetic``; then ``smc``, ``dp`` and ``he``; then ``network``; then ``learning`` and
``aggregation``; then ``collaboration`` and ``attacks``; then ``notebook`` and ``comparison``.
Importing ``refimpl`` alone loads none of the heavy libraries.
"""

__version__ = "0.1.0"
