/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* The server's socket. Nothing here has to do with lockmap. */
#ifndef _REPLYCACHE_SOCKET_H
#define _REPLYCACHE_SOCKET_H

#include <linux/in.h>
#include <linux/net.h>
#include <linux/socket.h>
#include <linux/uio.h>
#include <net/net_namespace.h>

#include "core/compat.h"
#include "protocol.h"

/* A request, and the address of the client that sent it. */
struct call {
	struct sockaddr_in client;
	struct call_request request;
};

/* Open a UDP socket that only this machine can send to. */
static struct socket *open_socket(u16 port)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	struct socket *sock;
	int err;

	err = sock_create_kern(&init_net, PF_INET, SOCK_DGRAM, IPPROTO_UDP, &sock);
	if (err)
		return ERR_PTR(err);
	err = kernel_bind(sock, (struct lm_sockaddr *)&address, sizeof(address));
	if (!err)
		return sock;
	sock_release(sock);
	return ERR_PTR(err);
}

/*
 * Wait for a datagram.
 * Return: true if it is a request; false if it is not, or if the socket was shut down.
 */
static bool receive(struct socket *sock, struct call *call)
{
	struct kvec vec = { .iov_base = &call->request, .iov_len = sizeof(call->request) };
	struct msghdr msg = { .msg_name = &call->client };

	return kernel_recvmsg(sock, &msg, &vec, 1, vec.iov_len, 0) == sizeof(call->request) &&
	       call->request.counter < NR_COUNTERS;
}

/* Send a reply. If there is no room for it, it is lost, as may happen to any datagram. */
static void send_reply(struct socket *sock, struct call *call, struct call_reply *reply)
{
	struct kvec vec = { .iov_base = reply, .iov_len = sizeof(*reply) };
	struct msghdr msg = {
		.msg_name = &call->client,
		.msg_namelen = sizeof(call->client),
		.msg_flags = MSG_DONTWAIT,
	};

	kernel_sendmsg(sock, &msg, &vec, 1, vec.iov_len);
}

#endif /* _REPLYCACHE_SOCKET_H */
