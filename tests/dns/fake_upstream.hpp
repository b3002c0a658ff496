// A recursive resolver on loopback, as one thread, that counts what it is asked. What it answers
// follows from the name's first label.
#pragma once

#include "core/address.hpp"
#include "core/descriptor.hpp"

#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>
#include <thread>

namespace rooster::dns::testing {

/// "one…": A 192.0.2.1 and AAAA 2001:db8::1, TTL 300. "inside…": AAAA fdaa::1 beside 2001:db8::1.
/// "hint…": an HTTPS record with a hint in fdaa::. "lan…": A 10.0.0.1. "none…": NXDOMAIN with a SOA
/// of 900 s. "fail…": SERVFAIL. "mute…": nothing. "alias…": CNAME to one.example. "large…": TXT of
/// 3000 bytes, over TCP only. "plain…": FORMERR to whoever asks with EDNS, else as "one".
class FakeUpstream {
 public:
  FakeUpstream();
  ~FakeUpstream();
  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }
  std::uint16_t port() const { return port_; }
  int questions() const { return questions_; }
  /// From now on it says nothing at all.
  void be_silent(bool on) { silent_ = on; }

 private:
  void run();
  std::string answer(std::string_view query, bool is_stream);

  std::uint16_t port_ = 0;
  Descriptor datagrams_;
  Descriptor streams_;
  std::atomic<int> questions_ = 0;
  std::atomic<bool> silent_ = false;
  std::atomic<bool> stopping_ = false;
  std::thread thread_;
};

}  // namespace rooster::dns::testing
