"""The emergency procedure: restore beside the live database, prove it, swap by rename, roll back if it is not well."""
