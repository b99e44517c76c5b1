// A double of the part of NVIDIA's ONNX parser that install/jetpack4/tensorrt.cpp uses; see NvInfer.h.
#pragma once

#include <NvInfer.h>

#define NV_ONNX_PARSER_MAJOR 0

namespace nvonnxparser
{

class IParserError
{
public:
    virtual char const* desc() const noexcept = 0;
    virtual int node() const noexcept = 0;

protected:
    virtual ~IParserError() = default;
};

class IParser
{
public:
    virtual ~IParser() = default;
    virtual bool parse(void const* model, std::size_t size, char const* path = nullptr) noexcept = 0;
    virtual int getNbErrors() const noexcept = 0;
    virtual IParserError const* getError(int index) const noexcept = 0;
};

IParser* createParser(nvinfer1::INetworkDefinition& network, nvinfer1::ILogger& logger) noexcept;

} // namespace nvonnxparser
