package main

const bpf = 321
