"""Tables, migrations and the queries over them.

The database is the memory of triggerhub: Kafka may forget. Functions here take an open connection, run inside the
caller's transaction and never touch the network.
"""
