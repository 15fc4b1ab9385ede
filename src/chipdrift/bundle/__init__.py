"""Write what each chip gets as a folder that an app loads, signed, and refuse a damaged one."""
