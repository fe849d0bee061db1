module sluice.test/bench/peers/pack

go 1.19
