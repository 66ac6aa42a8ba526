"""Random programs of API calls, run on fastgrad and on the reference, compared call by call.

A program is a list of lines of Python; `grammar` makes them, `worlds` says what names they may use,
`comparison` compares the two worlds after each line, `running` runs a program in a process of its own,
`shrinking` drops the lines that a failure does not need, and `campaign` does all that for a while.
"""
