#include "proxy/serve_static.hpp"

#include "proxy/static_file.hpp"
#include "tests/proxy/decode.hpp"
#include "tests/proxy/edge.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

#include <stdlib.h>
#include <sys/stat.h>

namespace rooster::proxy {
namespace {

namespace fs = std::filesystem;
using testing::Edge;
using testing::Peer;

struct Folder {
  Folder() {
    char name[] = "/tmp/rooster-static-XXXXXX";
    path = ::mkdtemp(name);
    fs::create_directories(path / "public/sub");
  }
  ~Folder() { fs::remove_all(path); }
  void write(const std::string& name, std::string_view content) const {
    std::ofstream(path / name, std::ios::binary) << content;
  }
  fs::path path;
};

struct StaticEdge : Edge {
  explicit StaticEdge(const Folder& folder) {
    app.rooster.directory = folder.path.string();
    app.statics = {{.guest_path = "public",
                    .folder = "public",
                    .url_prefix = "/s",
                    .index_document = "index.html"}};
    adopt();
  }
};

std::string get(std::string_view path, std::string_view more = "", std::string_view how = "GET") {
  return std::string(how) + " " + std::string(path) + " HTTP/1.1\r\nhost: hello.app.dev\r\n" +
         std::string(more) + "\r\n";
}

std::string pattern(std::size_t bytes) {
  std::string text(bytes, '\0');
  for (std::size_t i = 0; i < bytes; ++i)
    text[i] = static_cast<char>('a' + (i * 31 + i / 257) % 26);
  return text;
}

std::string value_in(std::string_view head, std::string_view name) {
  const std::size_t at = head.find("\r\n" + std::string(name) + ": ");
  if (at == std::string_view::npos) return "";
  const std::string_view rest = head.substr(at + 4 + name.size());
  return std::string(rest.substr(0, rest.find('\r')));
}

TEST(OpenStatic, GivesRegularFilesOfTheFolderOnly) {
  const Folder folder;
  folder.write("public/a.txt", "hello");
  folder.write("secret.txt", "secret");
  fs::create_symlink("../secret.txt", folder.path / "public/link.txt");
  fs::create_directory_symlink("..", folder.path / "public/up");
  ASSERT_EQ(::mkfifo((folder.path / "public/pipe").c_str(), 0644), 0);
  const std::string root = folder.path.string();
  const auto file = open_static(root, "public/a.txt");
  ASSERT_TRUE(file);
  EXPECT_EQ(file->content, "hello");
  EXPECT_EQ(file->type, "text/plain; charset=utf-8");
  for (const char* path : {"public/link.txt", "public/up/secret.txt", "public/../../etc/passwd",
                           "/etc/passwd", "public/pipe", "public/sub", "public/none"}) {
    EXPECT_FALSE(open_static(root, path)) << path;
  }
  EXPECT_FALSE(open_static("/nonexistent", "a"));
}

TEST(StaticFiles, AreAFewAndForgottenSoon) {
  StaticFiles files;
  const TimePoint now = Clock::now();
  for (std::size_t i = 0; i < 3 * limits::kStaticFiles; ++i) {
    files.put(std::to_string(i), nullptr, now + std::chrono::milliseconds(i));
  }
  EXPECT_EQ(files.size(), limits::kStaticFiles);
  EXPECT_FALSE(files.find("0", now));
  const std::string last = std::to_string(3 * limits::kStaticFiles - 1);
  EXPECT_TRUE(files.find(last, now));
  EXPECT_FALSE(files.find(last, now + std::chrono::seconds(3)));
}

StaticAnswer answer_to(std::string_view fields, std::uint64_t size = 100,
                       std::string_view how = "GET") {
  StaticFile file;
  file.size = size;
  file.etag = "\"e\"";
  file.modified = 1'000'000'000;
  file.last_modified = "Sun, 09 Sep 2001 01:46:40 GMT";
  const std::string bytes = get("/s/x", fields, how);
  RequestHead head;
  EXPECT_EQ(parse_request_head(bytes, head).status, ParseStatus::Complete) << bytes;
  return answer_static(head, file);
}

std::string range_of(std::string_view fields, std::uint64_t size = 100) {
  const StaticAnswer answer = answer_to(fields, size);
  return std::to_string(answer.status) + " " + std::to_string(answer.first) + "+" +
         std::to_string(answer.length);
}

TEST(AnswerStatic, ConditionsSaveTheBody) {
  EXPECT_EQ(answer_to("").status, 200);
  EXPECT_EQ(answer_to("If-None-Match: \"e\"\r\n").status, 304);
  EXPECT_EQ(answer_to("If-None-Match: \"x\", W/\"e\"\r\n").status, 304);
  EXPECT_EQ(answer_to("If-None-Match: *\r\n").status, 304);
  EXPECT_EQ(answer_to("If-None-Match: \"x\"\r\n").status, 200);
  EXPECT_EQ(answer_to("If-Modified-Since: Sun, 09 Sep 2001 01:46:40 GMT\r\n").status, 304);
  EXPECT_EQ(answer_to("If-Modified-Since: Sun, 09 Sep 2001 01:46:39 GMT\r\n").status, 200);
  EXPECT_EQ(answer_to("If-Modified-Since: yesterday\r\n").status, 200);
  EXPECT_EQ(
      answer_to("If-None-Match: \"x\"\r\nIf-Modified-Since: Sun, 09 Sep 2001 01:46:40 GMT\r\n")
          .status,
      200);
}

TEST(AnswerStatic, OneRangeIsHonoured) {
  EXPECT_EQ(range_of("Range: bytes=0-9\r\n"), "206 0+10");
  EXPECT_EQ(range_of("Range: bytes=90-\r\n"), "206 90+10");
  EXPECT_EQ(range_of("Range: bytes=90-1000\r\n"), "206 90+10");
  EXPECT_EQ(range_of("Range: bytes=-5\r\n"), "206 95+5");
  EXPECT_EQ(range_of("Range: bytes=-500\r\n"), "206 0+100");
  EXPECT_EQ(range_of("Range: bytes=100-\r\n"), "416 0+0");
  EXPECT_EQ(range_of("Range: bytes=-0\r\n"), "416 0+0");
  EXPECT_EQ(range_of("Range: bytes=0-0\r\n", 0), "416 0+0");
  for (const char* other : {"bytes=0-1,4-5", "bytes=5-4", "bytes=-", "bytes=a-b", "lines=0-1"}) {
    EXPECT_EQ(range_of("Range: " + std::string(other) + "\r\n"), "200 0+100") << other;
  }
}

TEST(AnswerStatic, ARangeHoldsOnlyForTheFileItWasAskedOf) {
  EXPECT_EQ(range_of("Range: bytes=0-9\r\nIf-Range: \"e\"\r\n"), "206 0+10");
  EXPECT_EQ(range_of("Range: bytes=0-9\r\nIf-Range: W/\"e\"\r\n"), "200 0+100");
  EXPECT_EQ(range_of("Range: bytes=0-9\r\nIf-Range: \"old\"\r\n"), "200 0+100");
  EXPECT_EQ(range_of("Range: bytes=0-9\r\nIf-Range: Sun, 09 Sep 2001 01:46:40 GMT\r\n"),
            "206 0+10");
}

TEST(ServeStatic, AnswersWithoutTheAppAndKeepsTheConnection) {
  const Folder folder;
  folder.write("public/a.txt", "hello");
  folder.write("public/index.html", "<p>index");
  StaticEdge edge(folder);
  Peer client = edge.connect();
  ASSERT_TRUE(client.send(get("/s/a.txt?v=1") + get("/s/", "", "HEAD") + get("/s/a.txt")));
  std::string head = client.read_head();
  EXPECT_TRUE(head.starts_with("HTTP/1.1 200 OK\r\n")) << head;
  EXPECT_EQ(value_in(head, "Content-Type"), "text/plain; charset=utf-8");
  EXPECT_EQ(value_in(head, "Content-Length"), "5");
  EXPECT_NE(value_in(head, "Last-Modified"), "");
  EXPECT_EQ(client.read(5), "hello");
  head = client.read_head();
  EXPECT_EQ(value_in(head, "Content-Length"), "8");
  head = client.read_head();
  EXPECT_EQ(client.read(5), "hello");
  ASSERT_TRUE(client.send(get("/s/a.txt", "if-none-match: " + value_in(head, "ETag") + "\r\n")));
  head = client.read_head();
  EXPECT_TRUE(head.starts_with("HTTP/1.1 304 ")) << head;
  EXPECT_EQ(head.find("Content-Length"), std::string::npos);
  client.finish();
  EXPECT_EQ(client.wait_for_end(), Peer::End::Fin);
  EXPECT_FALSE(edge.origin.has_connection());
  EXPECT_EQ(edge.log().size(), 4u);
  edge.expect_all_given_back();
}

TEST(ServeStatic, WhatIsNotThereIsTheApps) {
  const Folder folder;
  folder.write("public/a.txt", "hello");
  StaticEdge edge(folder);
  for (const std::string& request : {get("/s/none.txt"), get("/s/sub"), get("/s/a.txt", "", "PUT"),
                                     get("/s/../secret"), get("/x")}) {
    Peer client = edge.connect();
    ASSERT_TRUE(client.send(request));
    Peer app = edge.origin.accept();
    EXPECT_EQ(app.read_head().substr(0, 10), request.substr(0, 10));
    ASSERT_TRUE(
        app.send("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"));
    EXPECT_TRUE(client.read_head().starts_with("HTTP/1.1 404 "));
  }
}

TEST(ServeStatic, ALargeFileComesWholeAndInParts) {
  const Folder folder;
  const std::string large = pattern(3'000'000);
  folder.write("public/large.bin", large);
  StaticEdge edge(folder);
  Peer client = edge.connect(16 * 1024);
  ASSERT_TRUE(client.send(get("/s/large.bin")));
  EXPECT_EQ(value_in(client.read_head(), "Content-Length"), "3000000");
  EXPECT_TRUE(client.read(large.size()) == large);
  ASSERT_TRUE(client.send(get("/s/large.bin", "range: bytes=2999990-\r\n")));
  const std::string head = client.read_head();
  EXPECT_TRUE(head.starts_with("HTTP/1.1 206 ")) << head;
  EXPECT_EQ(value_in(head, "Content-Range"), "bytes 2999990-2999999/3000000");
  EXPECT_EQ(client.read(10), large.substr(2'999'990));
  ASSERT_TRUE(client.send(get("/s/large.bin", "range: bytes=3000000-\r\n")));
  EXPECT_EQ(value_in(client.read_head(), "Content-Range"), "bytes */3000000");
}

TEST(ServeStatic, IsCompressedAsAnAnswerOfTheAppIs) {
  const Folder folder;
  const std::string text = pattern(500'000);
  folder.write("public/large.css", text);
  StaticEdge edge(folder);
  edge.app.services[0].ports[0].http_options.compress = true;
  edge.adopt();
  Peer client = edge.connect();
  ASSERT_TRUE(client.send(get("/s/large.css", "accept-encoding: gzip\r\n")));
  const std::string head = client.read_head();
  EXPECT_EQ(value_in(head, "Content-Encoding"), "gzip");
  EXPECT_TRUE(value_in(head, "ETag").starts_with("W/"));
  const std::string chunked = client.read_until("\r\n0\r\n\r\n");
  ChunkedDecoder decoder;
  std::string coded;
  std::string_view left = chunked;
  while (!decoder.is_done()) {
    const auto step = decoder.decode(left);
    ASSERT_TRUE(step.consumed > 0 || step.status == ParseStatus::Complete);
    coded += step.payload;
    left.remove_prefix(step.consumed);
  }
  EXPECT_TRUE(testing::decode(Coding::Gzip, coded).text == text);
}

TEST(ServeStatic, AFileThatShrinksIsCutShort) {
  const Folder folder;
  folder.write("public/large.bin", pattern(8'000'000));
  StaticEdge edge(folder);
  Peer client = edge.connect(4096);
  ASSERT_TRUE(client.send(get("/s/large.bin")));
  client.read_head();
  fs::resize_file(folder.path / "public/large.bin", 100);
  const std::string rest = client.read_to_end();
  EXPECT_LT(rest.size(), 8'000'000u);
  EXPECT_EQ(edge.log().back(), "200 upstream_truncated");
}

}  // namespace
}  // namespace rooster::proxy
