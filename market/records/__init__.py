"""What is kept and can be checked: the ledger, the audit, and the export."""
