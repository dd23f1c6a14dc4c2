//! Types that the BPF programs and the agent share.
#![no_std]
