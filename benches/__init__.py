"""How speed is measured. `cases.py` is the table; everything else reads it or the records that it leaves behind."""
