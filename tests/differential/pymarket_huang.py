"""Clears books with PyMarket's Huang auction: JSON from stdin to stdout, in the pinned environment .venv-pymarket.

In: a list of books {"price", "quantity", "is_buy"}, one order per agent. Out: for each {"buyers_pay", "sellers_get",
"filled"}; the prices are null where demand and supply do not cross, `filled` has an entry per order.
"""

from __future__ import annotations

import json
import sys
import warnings

import pymarket
from pymarket.mechanisms import HuangAuction


def clear(book):
    """One book through the mechanism itself, which merges orders of one side and price and shares their fill out."""
    market = pymarket.Market()
    for agent, order in enumerate(zip(book["quantity"], book["price"], strict=True)):
        market.accept_bid(*order, agent, book["is_buy"][agent])
    transactions, extra = market.run("huang")
    filled = [0.0] * len(book["price"])
    for order, quantity, *_ in transactions.trans:
        filled[order] += float(quantity)
    prices = (extra.get(name) for name in ("price_buy", "price_sell"))
    pay, get = (None if price is None else float(price) for price in prices)
    return {"buyers_pay": pay, "sellers_get": get, "filled": filled}


if __name__ == "__main__":
    warnings.simplefilter("ignore", FutureWarning)  # of pandas, about PyMarket's use of it
    assert pymarket.market.MECHANISM["huang"] is HuangAuction
    json.dump([clear(book) for book in json.load(sys.stdin)], sys.stdout)
