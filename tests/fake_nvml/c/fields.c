/* Many values in one call, each with its own return code. */
#include "query.h"

static void fill_field(const struct record *record, nvmlFieldValue_t *field) {
    field->timestamp = (int64_t)(wall_seconds() * 1e6);
    field->latencyUsec = 0;
    field->value.ullVal = 0;
    field->valueType = VALUE_ULL;
    const struct value *value = find(record, "field", (long)field->fieldId, (long)field->scopeId);
    field->nvmlReturn = value ? (value->kind == 'e' ? (nvmlReturn_t)value->bits : OK) : NOT_SUPPORTED;
    if (field->nvmlReturn != OK) return;
    uint64_t bits = bits_of(value);
    switch (value->kind) {
    case 'd':
        field->valueType = VALUE_DOUBLE;
        field->value.dVal = number_of(value);
        break;
    case 'u':
        field->valueType = VALUE_UINT;
        field->value.uiVal = (unsigned int)bits;
        break;
    case 'i':
        field->valueType = VALUE_INT;
        field->value.siVal = (int)(int64_t)bits;
        break;
    case 'I':
        field->valueType = VALUE_SLL;
        field->value.sllVal = (long long)bits;
        break;
    default:
        field->value.ullVal = bits;
    }
}

API nvmlReturn_t nvmlDeviceGetFieldValues(nvmlDevice_t device, int count, nvmlFieldValue_t *fields) {
    nvmlReturn_t result = enter("nvmlDeviceGetFieldValues", device);
    if (result != OK) return result;
    for (int i = 0; i < count; i++) fill_field(device->record, &fields[i]);
    return leave(OK);
}
