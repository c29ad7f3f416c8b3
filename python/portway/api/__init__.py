"""The client of the API: which commands there are, what each sends, and what is made of the answer.

What a command line looks like and what is told to people is `portway.cli`'s business.
"""
