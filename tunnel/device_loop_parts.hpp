// What a DeviceLoop consists of; for device_loop*.cpp only.
#pragma once

#include "tunnel/device_loop.hpp"

#include <cerrno>
#include <system_error>

#include <fcntl.h>

namespace rooster::tunnel {

/// The same open file once more: a Pollable owns its descriptor, and so does who reads it.
inline Descriptor duplicate(int fd) {
  Descriptor copy(::fcntl(fd, F_DUPFD_CLOEXEC, 3));
  if (!copy) throw std::system_error(errno, std::generic_category(), "dup");
  return copy;
}

struct DeviceLoop::Outer {
  Outer(Loop& loop, Descriptor fd) : socket(std::move(fd)), ready(loop, duplicate(socket.fd())) {}
  UdpSocket socket;
  Pollable ready;
  SendQueue queue;
  Waiter* waiter = nullptr;
};

struct DeviceLoop::Websocket {
  Endpoint source;
  std::unique_ptr<WebsocketTransport> transport;
  WebsocketRole role = WebsocketRole::Server;
};

}  // namespace rooster::tunnel
