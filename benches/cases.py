"""temp"""

from benches.case import table

CASES = table()
