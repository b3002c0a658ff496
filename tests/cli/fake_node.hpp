// A node's admin API with prepared answers, on a unix socket of its own.
#pragma once

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <filesystem>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

namespace rooster::cli {

class FakeNode {
 public:
  FakeNode() {
    std::string pattern = (std::filesystem::temp_directory_path() / "rooster-cli-XXXXXX").string();
    EXPECT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
    listener_ = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    socket_path().copy(address.sun_path, sizeof address.sun_path - 1);
    EXPECT_EQ(bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(listen(listener_, 16), 0);
    thread_ = std::thread([this] { serve(); });
  }
  ~FakeNode() {
    shutdown(listener_, SHUT_RDWR);
    thread_.join();
    close(listener_);
    std::filesystem::remove_all(folder_);
  }

  std::string socket_path() const { return (folder_ / "admin.sock").string(); }
  std::filesystem::path folder() const { return folder_; }
  /// The answer to "GET /v1/apps" and so on, with its query.
  void answer(const std::string& request, std::string body, int status = 200) {
    const std::scoped_lock lock(mutex_);
    answers_[request] = {status, std::move(body)};
  }
  std::vector<std::string> requests() {
    const std::scoped_lock lock(mutex_);
    return requests_;
  }

 private:
  void serve() {
    for (;;) {
      const int client = accept(listener_, nullptr, nullptr);
      if (client < 0) return;
      std::string head;
      std::array<char, 4096> buffer;
      while (!head.contains("\r\n\r\n")) {
        const ssize_t n = read(client, buffer.data(), buffer.size());
        if (n <= 0) break;
        head.append(buffer.data(), static_cast<std::size_t>(n));
      }
      if (head.empty()) {  // only looked whether somebody is there
        close(client);
        continue;
      }
      const std::string reply = reply_to(head.substr(0, head.find(" HTTP/")));
      EXPECT_EQ(send(client, reply.data(), reply.size(), MSG_NOSIGNAL),
                static_cast<ssize_t>(reply.size()));
      close(client);
    }
  }
  std::string reply_to(const std::string& request) {
    const std::scoped_lock lock(mutex_);
    requests_.push_back(request);
    const auto found = answers_.find(request);
    const auto [status, body] = found == answers_.end()
                                    ? std::pair(404, std::string(R"({"error":"not prepared"})"))
                                    : found->second;
    return "HTTP/1.1 " + std::to_string(status) +
           " X\r\nContent-Length: " + std::to_string(body.size()) +
           "\r\nConnection: close\r\n\r\n" + body;
  }

  std::filesystem::path folder_;
  int listener_ = -1;
  std::mutex mutex_;
  std::map<std::string, std::pair<int, std::string>> answers_;
  std::vector<std::string> requests_;
  std::thread thread_;
};

}  // namespace rooster::cli
