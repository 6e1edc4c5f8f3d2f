"""Floor 1: differential privacy, as pure functions on arrays. No parties, no models here.

Mechanisms:

- ``mechanisms``: Laplace, Gaussian, geometric and the others by their names; start here
- ``calibration``: the least Gaussian noise for a budget
- ``selection``: exponential mechanism and report-noisy-max
- ``randomized_response``: answers that may be lies, and estimates from them
- ``clipping``: the bounds on contributions that noise is measured against
- ``floating_point``: noise in plain doubles, and the attack that it does not withstand

What they draw from:

- ``discrete``: discrete Laplace and Gaussian noise, fast and exact
- ``integer_sampling``: the same by the definition, in integers alone
- ``inversion``, ``coins``: tables and coins whose chances are exact
- ``checks``: checks of arguments

Accounting:

- ``accounting``: the privacy of many steps together; start here
- ``composition``, ``rdp``, ``zcdp``, ``pld``: the theorems and curves behind it
- ``pairs``, ``discretisation``, ``saddle``, ``profile``, ``composed``: what ``pld`` computes with

Auditing:

- ``auditing``: lower bounds on epsilon from attacks, in many runs or in one
"""
