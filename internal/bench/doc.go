// Package bench measures the services side by side with what they are built on, in one run, and reports ratios: make bench.
//
// What Terraform does of an apply by itself is set beside ours by a benchmark of its own: make bench-terraform.
//
// BENCH_SCALE=5000 raises the number of instances of its largest measurements from 1,000. Above 1,000, and wherever clients
// are connected, they run on the stand-in for the engine: what is measured is what the services need beside it.
package bench
