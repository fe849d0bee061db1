module sluice.invalid/bench/start

go 1.19
