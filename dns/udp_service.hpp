// UdpService: DNS over datagrams on one descriptor, many to a syscall; every answer leaves from the
// address that was asked.
#pragma once

#include "core/descriptor.hpp"
#include "core/loop.hpp"
#include "core/task.hpp"
#include "dns/responder.hpp"

#include <memory>

namespace rooster::dns {

class UdpService {
 public:
  /// `fd`: a bound UDP socket, made non-blocking here. `responder` outlives the service.
  UdpService(TaskGroup& group, Descriptor fd, Responder& responder);
  ~UdpService();
  UdpService(const UdpService&) = delete;
  UdpService& operator=(const UdpService&) = delete;

  /// Until the group is interrupted.
  Task<> run();

 private:
  struct Batch;
  struct Pending;
  bool serve_batch();
  void prepare_answer(std::size_t index, std::size_t answers, std::size_t size);
  void send_answers(std::size_t count);
  Task<> answer_later(std::unique_ptr<Pending> pending);

  TaskGroup& group_;
  Pollable pollable_;
  Responder& responder_;
  Waiter waiter_;
  std::unique_ptr<Batch> batch_;
};

}  // namespace rooster::dns
