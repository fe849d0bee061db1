module sluice.invalid/bench/kube

go 1.19
