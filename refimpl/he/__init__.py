"""Floor 1: homomorphic encryption, as pure functions on arrays. No parties here.

- ``paillier``: packed Paillier; whoever holds the private key reads the sum
- ``threshold_paillier``: Paillier whose key no one holds; any ``threshold`` parties decrypt
- ``python_paillier``: the same keys in python-paillier, and what its floats give away
- ``packing``, ``noise``, ``integers``: what these compute with
- ``rlwe``: ring learning with errors; 8 bytes a value, or 4 where the senders share the key
- ``threshold_rlwe``: such a key that no one holds; all parties decrypt together
- ``lwe``: the same without rings, in the form of Phong et al., to be read
- ``polynomials``, ``lattice_noise``, ``slots``, ``wide``, ``threshold_parameters``: what these
  compute with
- ``ciphertext``: what all schemes share: which ciphertexts may be added, and how they travel
"""
