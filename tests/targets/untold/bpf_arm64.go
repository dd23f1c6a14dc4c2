package main

const bpf = 280
