"""What is at an address, and what is it called?"""
