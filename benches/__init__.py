"""How speed is measured. `cases.py` is the table; everything else reads it or the records that it leaves behind.

.. include:: docs/running.md
.. include:: docs/figures.md
.. include:: docs/cases.md
.. include:: docs/cluster.md
.. include:: docs/gate.md
"""
