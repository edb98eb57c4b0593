"""Database of sweeps: tables, migrations, transactions, queries and leases.

It must not know how sweeps find images or read layers, nor how results are displayed.
"""
