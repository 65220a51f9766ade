"""Secrets of odd shapes, put wherever something can be put, and looked for wherever something can come out.

values     the canaries, and every way in which one could be written
gateway    a gateway that repeats what it is told, in all of these ways, and fails in a dozen others
files      a host of that gateway
library    everything that a program does, and what goes wrong
pages      everything that a browser or a gateway asks for
terminal   every command
"""
