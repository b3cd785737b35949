"""Tests of your own kernel: a real guest for each test that asks for one."""
