// TcpSession: DNS over one TCP connection: any number of questions one behind the other, answered
// as their answers come (RFC 7766).
#pragma once

#include "core/loop.hpp"
#include "core/stream.hpp"
#include "core/task.hpp"
#include "dns/responder.hpp"

#include <cstddef>
#include <memory>
#include <string>

namespace rooster::dns {

struct SessionLimits {
  Duration idle_time = std::chrono::seconds(10);
  std::size_t query_bytes = 4096;         ///< a longer one closes the connection
  std::size_t outstanding = 64;           ///< of one session; then nothing more is read
  std::size_t unsent_bytes = 256 * 1024;  ///< likewise
};

class TcpSession : public std::enable_shared_from_this<TcpSession> {
 public:
  /// `scratch`: kMaxMessageBytes + 2, used only between two suspensions. It and `responder` outlive
  /// the session.
  TcpSession(TaskGroup& group, Descriptor fd, const IpAddress& source, Responder& responder,
             std::span<char> scratch, SessionLimits limits);

  /// Until the client leaves, idles, breaks the rules, or the group is interrupted.
  Task<> run();

 private:
  bool take_queries();
  bool answer_one(std::string_view query);
  bool is_busy() const;
  bool has_query() const;
  bool read_more();
  Task<> answer_later(std::shared_ptr<TcpSession> self, std::string query);

  TaskGroup& group_;
  Stream stream_;
  IpAddress source_;
  Responder& responder_;
  std::span<char> scratch_;
  SessionLimits limits_;
  Waiter waiter_;
  std::string input_;
  std::uint64_t taken_ = 0;  // questions
  std::size_t outstanding_ = 0;
  bool is_open_ = true;
  bool has_ended_ = false;  // the client has said all it wants
};

}  // namespace rooster::dns
