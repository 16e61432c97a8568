// Package sockets tells which TCP and UDP sockets exist on this machine and who owns them.
//
// The answers come from the kernel's socket table by NETLINK_SOCK_DIAG, not from /proc/net/tcp: only it carries tcp_info,
// filters before it answers, and is quick (measured with 262,144 hash buckets, 24 GiB: 12 ms for the file whatever it holds,
// 0.1 ms for one listener, 0.4 to 0.7 ms for the connections of one port). Everything is seen in the network namespace of
// this process. No privilege is needed for [List]; the name of another user's program needs CAP_SYS_PTRACE, and without it
// [Holder] still gives the user id.
//
// A service manager that restricts address families has to allow AF_NETLINK.
package sockets
