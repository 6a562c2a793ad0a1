"""A UDP load balancer as a cluster has one: it hashes flows over pods, keeps each flow where it is, keeps the source of
every packet, and lets nobody but the flow's own pod speak to a phone."""

import select
import socket
import threading


class Balancer(threading.Thread):
    """Phones send to `front`. Pods see each phone at an address of its own on `back`, the same whichever pod it is."""

    def __init__(self, front, back, pods=()):
        super().__init__(daemon=True)
        self.front = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.front.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.front.bind(front)
        self.back = back
        self.pods = list(pods)
        self.flows = {}
        self.refused = 0
        self.lock = threading.Lock()
        self.stopping = threading.Event()
        self.poll = select.epoll()
        self.poll.register(self.front.fileno(), select.EPOLLIN)
        self.by_fd = {}

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        self.join()
        self.front.close()
        for flow in self.flows.values():
            flow["socket"].close()

    def add(self, pod):
        """A pod is ready: new flows may go to it, those that are there stay."""
        with self.lock:
            self.pods.append(pod)

    def leave(self, pod):
        """A pod is terminating: it gets no new flows."""
        with self.lock:
            self.pods.remove(pod)

    def forget(self, pod):
        """A pod is gone: the next packet of each of its flows goes elsewhere."""
        with self.lock:
            for flow in self.flows.values():
                if flow["pod"] == pod:
                    flow["pod"] = None

    def shuffle(self):
        """Every flow has been silent for longer than connection tracking remembers."""
        with self.lock:
            for flow in self.flows.values():
                flow["pod"] = None

    def pod_of(self, phone):
        """Where a phone's packets go."""
        with self.lock:
            return self.flows[phone]["pod"]

    def spread(self):
        """How many flows each pod has."""
        with self.lock:
            counts = {}
            for flow in self.flows.values():
                counts[flow["pod"]] = counts.get(flow["pod"], 0) + 1
            return counts

    def run(self):
        while not self.stopping.is_set():
            for fd, _ in self.poll.poll(0.1):
                if fd == self.front.fileno():
                    self.inbound()
                else:
                    self.outbound(self.by_fd[fd])

    def inbound(self):
        try:
            while True:
                data, phone = self.front.recvfrom(65535, socket.MSG_DONTWAIT)
                with self.lock:
                    flow = self.flows.get(phone) or self.open(phone)
                    if flow["pod"] is None:
                        if not self.pods:
                            continue
                        flow["pod"] = self.pods[hash((phone, flow["moves"])) % len(self.pods)]
                        flow["moves"] += 1
                    flow["socket"].sendto(data, flow["pod"])
        except BlockingIOError:
            pass

    def open(self, phone):
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        s.bind((self.back, 0))
        flow = {"socket": s, "phone": phone, "pod": None, "moves": 0}
        self.flows[phone] = flow
        self.by_fd[s.fileno()] = flow
        self.poll.register(s.fileno(), select.EPOLLIN)
        return flow

    def outbound(self, flow):
        try:
            while True:
                data, pod = flow["socket"].recvfrom(65535, socket.MSG_DONTWAIT)
                with self.lock:
                    if pod == flow["pod"]:
                        self.front.sendto(data, flow["phone"])
                    else:
                        self.refused += 1
        except (BlockingIOError, ConnectionError):
            pass
