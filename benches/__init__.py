"""How speed is measured. `cases.py` is the table; everything else reads it or the records that it leaves behind.

.. include:: docs/figures.md
.. include:: docs/cases.md
.. include:: docs/mechanisms.md
.. include:: docs/environments.md
.. include:: docs/data.md
.. include:: docs/cluster.md
.. include:: docs/gate.md
.. include:: docs/limits.md
"""
