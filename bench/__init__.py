"""Side-by-side timings against the peers; ``python -m bench`` runs them, tests never do."""
